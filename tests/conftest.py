"""Profiles of hypothesis: `mutants` stops at the first counterexample, because nobody reads it."""

from hypothesis import Phase, settings

settings.register_profile("mutants", phases=[Phase.generate], database=None)
settings.register_profile("gate", database=None, print_blob=True)
settings.load_profile("gate")
