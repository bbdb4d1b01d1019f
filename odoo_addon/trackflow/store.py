class OdooStore:
    def __init__(self, env, **options):
        self.env = env
