"""What services share through Redis. Composition roots reach it through `adapters.shared`."""
