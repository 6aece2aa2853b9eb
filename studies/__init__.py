"""Every measurement whose result the book shows, and the one runner behind them."""
