from . import qr
from . import redirect
