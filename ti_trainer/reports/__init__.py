"""What people look at: pictures, tables, figures and texts."""
