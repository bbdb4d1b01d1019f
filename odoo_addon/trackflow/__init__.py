from . import controllers, models, report, wizard
from .front import post_load
from .hooks import post_init_hook, uninstall_hook
