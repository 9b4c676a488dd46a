"""The recorder: folds the event stream into the record store and removes what is too old (DESIGN §3, §6)."""
