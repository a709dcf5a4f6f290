"""What the language model sees, and what it may write."""
