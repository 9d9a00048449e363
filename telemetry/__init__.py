"""Every metric and every log event of the service, declared once."""
