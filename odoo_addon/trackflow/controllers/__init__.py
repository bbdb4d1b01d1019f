from . import api, person, qr, redirect, webhook
