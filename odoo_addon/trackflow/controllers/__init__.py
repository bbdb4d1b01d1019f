from . import qr
from . import redirect
from . import webhook
