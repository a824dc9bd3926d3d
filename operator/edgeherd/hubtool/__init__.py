"""`edgeherd hub`: what a hub has, seen beside what the cluster wants."""
