// cuRAND: candle makes a generator together with the device. Drawing from it is not supported.
extern "C" {

int curandCreateGenerator(void** generator, int) { return *generator = new char, 0; }
int curandDestroyGenerator(void* generator) { return delete static_cast<char*>(generator), 0; }
int curandSetPseudoRandomGeneratorSeed(void*, unsigned long long) { return 0; }
int curandSetStream(void*, void*) { return 0; }

}
