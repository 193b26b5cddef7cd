"""Database, jobs, REST service and command line: the only place that knows users and requests."""
