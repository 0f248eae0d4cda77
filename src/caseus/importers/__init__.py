"""Taking over what somebody else's index holds."""
