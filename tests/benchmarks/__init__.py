"""What `make bench` measures; each module's `main()` prints its figures and says which miss."""
