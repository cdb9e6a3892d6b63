"""The command line for the person on call."""
