"""Elements of a page that compute in the reader's browser: their data, their forms, their HTML."""
