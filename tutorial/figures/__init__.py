"""What each lesson prints and draws when it is run as a program: one module per lesson."""
