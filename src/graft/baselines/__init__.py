"""What not transferring would give: one file a row of the verdict."""
