"""Does a stateful encoder learn what a stateless one does not? The experiment behind docs/statefulness.md."""
