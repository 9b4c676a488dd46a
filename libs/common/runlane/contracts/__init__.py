"""What rooms say to each other: subjects, messages, directory entries, records. No behaviour beyond reading and writing them."""
