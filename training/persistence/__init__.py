"""Does a persistent visual memory keep the late findings of a long report right? For docs/persistence.md."""
