"""Every metric and every log event of the service, each declared once."""
