"""One module per change of the schema. A released one is never edited: the next change is a new module."""
