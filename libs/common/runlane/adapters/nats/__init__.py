"""The bus and the directory store over NATS JetStream."""
