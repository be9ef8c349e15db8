import { EnvHttpProxyAgent, setGlobalDispatcher } from "undici";

/**
 * Lets fetch() go through the proxies that HTTP_PROXY, HTTPS_PROXY and NO_PROXY name, and wait for a model for as long as it
 * thinks: five minutes without a byte would end a request otherwise.
 */
export function useProxiesOfEnvironment(): void {
  setGlobalDispatcher(new EnvHttpProxyAgent({ bodyTimeout: 0, headersTimeout: 0 }));
}
