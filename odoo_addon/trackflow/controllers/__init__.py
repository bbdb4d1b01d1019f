from . import api, collect, person, qr, redirect, webhook
