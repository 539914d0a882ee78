"""The server: protocols that existing clients speak, batch dispatch, uploads, safety, the page (`ds2 serve`)."""
