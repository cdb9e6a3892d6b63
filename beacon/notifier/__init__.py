"""The notifier: it claims what is to be told, sends it to the endpoint, and settles what came of it."""

import importlib
import sys

from beacon import slim

slim.unrun("urllib3.http2")  # which is not used, but asks what is installed: 2 MB
# It guesses the encoding of texts, of which none is read. requests wants to know its version: 2 MB.
slim.unrun("charset_normalizer")
if "charset_normalizer" in slim.unrun_modules():
    told = importlib.import_module("charset_normalizer.version").__version__
    vars(sys.modules["charset_normalizer"])["__version__"] = told
