"""The states of the workflow, by the part of a session's path in which they stand, and what they are made of."""
