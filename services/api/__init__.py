"""The REST service: routes, the shapes of answers, and errors as problem details."""
