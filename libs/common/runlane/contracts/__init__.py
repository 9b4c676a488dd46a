"""What rooms say to each other: subjects, messages, directory entries, records."""
