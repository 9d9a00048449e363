"""What must outlive a step: journal, sessions, outbox."""
