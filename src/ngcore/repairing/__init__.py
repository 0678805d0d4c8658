"""What `ngcore repair` mends, one module for each kind of fault."""
