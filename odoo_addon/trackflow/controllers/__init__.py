from . import qr, redirect, webhook
