"""The reference of the configuration, generated from the model: tables for the page, a JSON Schema for editors.

May import the configuration's model; nothing in Beacon imports it, and the image does not contain it.
Start reading at `keys`, which lists every key; the effects of keys are written by hand in `effects`.
"""
