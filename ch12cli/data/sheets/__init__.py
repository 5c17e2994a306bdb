"""Tables in files, read column by column: text files of every layout."""
