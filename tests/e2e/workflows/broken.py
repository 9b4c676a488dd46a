"""A file that does not import: it must disable nothing but itself."""

raise RuntimeError("this file is broken on purpose")
