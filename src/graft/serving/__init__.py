"""An artifact as an HTTP server: requests in, answers out, many at a time; needs the extra `serve`."""
