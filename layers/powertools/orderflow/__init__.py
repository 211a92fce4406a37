"""The package that the contexts share: events, the order log and its rules, HTTP, observability."""
