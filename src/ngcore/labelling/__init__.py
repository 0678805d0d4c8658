"""Names and colours of labels."""
