"""What is written about the configuration, made of the model: the tables of its keys and the JSON Schema for editors.

So that neither can say anything that the code doesn't. What a key effects is the one thing that the model can't know:
it stands in `effects`. Not needed at run time.
"""
