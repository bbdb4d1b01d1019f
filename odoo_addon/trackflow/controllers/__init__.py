from . import person, qr, redirect, webhook
