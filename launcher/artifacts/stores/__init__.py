"""Where the files of models are: object stores, tracking servers, web servers."""
