"""The loops. Services never import each other; they meet in the store and on the bus."""
