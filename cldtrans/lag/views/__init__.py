"""What other libraries see of lags: tables, graphs, labelled arrays, pictures."""
