"""Names and colours of labels, from the tables in which the field keeps them."""
