"""Who is woken. A message only makes sooner what a timer would find in the database anyway."""
