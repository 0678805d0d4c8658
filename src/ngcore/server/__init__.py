"""Looking at volumes: an HTTP server for them, Neuroglancer states, and links."""
