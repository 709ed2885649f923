"""What people and programs read: texts, columns, JSON records, shared by screen and verbs."""
